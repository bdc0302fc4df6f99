"""Plotly figures from the tables, defined once for the page and for whatever else shows them."""
