"""Pictures of results for papers: matplotlib (extra ``plot``), imported where a picture is drawn."""
