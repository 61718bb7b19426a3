"""One file per kind of fault of the data: functions from a Sketch to problems."""
