"""What training makes small: contrastive terms, regularisers and their named weighted sum."""
