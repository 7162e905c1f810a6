"""From positions to addresses: indexes of places and streets, reverse geocoders, street names.

A new geocoder is a class in `geocoder`, or in `reverse` where it names streets, and a value of `stage2` in `settings`.
"""
