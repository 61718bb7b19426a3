"""Why the test error is above the train error, or both are too high, and what to change."""
