"""The thread that unlinks what the ledger lists: batches, schedule, throttle, retries."""
