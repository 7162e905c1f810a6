"""From positions to addresses: indexes of places and streets, reverse geocoders, street names."""
