"""The semantic address partition: streets cut at their crossings into sub-streets, and photos matched to them.

Streets come from `osm` or `geojson`, whose `tags` say what is one. They make a `network`, which is cut into `streets`
and `substreets`; `photos` make `places`, each matched to a sub-street; `dataset` does it all.
"""
