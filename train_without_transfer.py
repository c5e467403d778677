"""Train a network alone: a teacher, or the student that a transfer is compared with."""

from ignite_kd.cli import run
from ignite_kd.cli.train_without_transfer import command

if __name__ == "__main__":
    run(command)
