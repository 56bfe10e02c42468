"""The lab's tables and plots: ours and the peers in every scenario."""
