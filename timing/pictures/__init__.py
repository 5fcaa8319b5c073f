"""Pictures of where time went: waterfalls as SVG, and the self-contained page they stand on."""
