"""Ways into a dataset: one source a module, and what they share.

    released        the field's released annotation becomes a dataset folder: the options, and the steps
    annotation      its JSON files, as columns of records
    pitts_ial       what keys mean on Pitts-250k, and the positions in its MATLAB files
    sf_ial          positions in the file names of SF-XL
    positions       positions in a CSV
    photo_files     how paths are spelled, where files lie, how large they are and what is in them
    found_photos    records with the files of their photos and where they were taken
    report          what an import did, and the records that it could not use

A further source is a module here, a command in ``cli/imports.py`` and, where it is published, a card in ``known.py``.
"""
