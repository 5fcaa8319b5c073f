"""The thread that deletes what the ledger lists: batches, schedule, throttle, retries."""
