"""The report: plain data in, tables, figures, pictures and one HTML file out.

Start at `write_report.write_report`; `tables.comparison_table` needs neither plotly nor matplotlib.
"""
