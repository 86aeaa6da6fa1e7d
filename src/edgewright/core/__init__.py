"""The nouns every capability shares: contracts, documents, the host-capacity ledger, errors."""
