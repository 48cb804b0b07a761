"""Print text while it is generated, and measure the speed."""
