"""The semantic address partition: streets cut at their crossings into sub-streets, and photos matched to them."""
