"""Attribution methods over plain arrays: numpy only."""
