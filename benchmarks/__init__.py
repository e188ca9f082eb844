"""Measurements of awfe, each beside the limits that it is measured against."""
