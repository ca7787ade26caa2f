"""What has to hold for any value, searched with Hypothesis."""
