"""How results are shown: one page style, tables, drawings, charts, one signature of progress.

What a page says belongs to the part that found it (``data/report.py``, ``insight/page.py``, ``evaluate/report.py``,
``watch/page.py``); how it looks is here alone.
"""

from claude_flow.report.page import document, table
from claude_flow.report.progress import Progress, counted, nothing

__all__ = ["Progress", "counted", "document", "nothing", "table"]
