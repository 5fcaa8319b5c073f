"""Makes what is released: the packed bundle, its licences, the tables of keys, the picture of the page.

Orthanc never loads it.
"""
