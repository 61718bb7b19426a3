"""The only place that shows: a report as text, HTML, JSON, or in TensorBoard. Each in its own module."""
