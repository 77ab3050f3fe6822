"""What is learned: samples, targets, augmentation."""
