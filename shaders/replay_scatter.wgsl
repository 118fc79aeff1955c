// replay_scatter
