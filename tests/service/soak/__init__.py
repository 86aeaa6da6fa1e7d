"""Nothing is lost: an orchestrator that is killed again and again under a stream of writes."""
