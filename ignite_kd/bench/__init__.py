"""Measurements that print a table: ratios and medians of one run."""
