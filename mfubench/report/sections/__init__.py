"""The report's sections, one file each: from a collection to blocks."""
