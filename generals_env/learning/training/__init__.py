"""What a training needs beside its learner: checkpoints, logs, a line of progress, and checks that it learns at all."""
