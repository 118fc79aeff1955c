// logsumexp
