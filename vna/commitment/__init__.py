"""Storage commitment (PS3.4 Annex J): a modality asks whether its instances are kept, so that it may delete them."""
