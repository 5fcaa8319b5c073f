"""Makes what is released: the packed bundle, its licences, README's tables, the picture of the page. Never loaded by Orthanc."""
