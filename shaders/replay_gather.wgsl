// replay_gather
