"""Run the steps of calls, with retries and one mutation at a time. Internal."""
