"""The account of many ranks as text and on the page."""
