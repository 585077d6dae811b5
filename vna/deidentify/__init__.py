"""De-identification by PS3.15 Annex E: what of a data set goes to somebody who must not learn whose it is."""
