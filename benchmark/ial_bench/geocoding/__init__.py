"""From positions to addresses: geocoders, reverse geocoders, street names.

A new geocoder is a class in `geocoder`, or in `reverse` where it names streets, and a value of `stage2` in `settings`.
"""
