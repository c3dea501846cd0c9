"""The report: plain data in; tables, figures, pictures and one HTML file out.

`write_report.write_report` writes the report of a loop; the benchmark fills the same `page.Page`.
"""
