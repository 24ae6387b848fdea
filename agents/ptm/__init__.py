"""Several pre-trained models as one features extractor, and what each of them counts."""
