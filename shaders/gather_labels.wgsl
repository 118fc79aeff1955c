// gather_labels
