// scatter_labels
