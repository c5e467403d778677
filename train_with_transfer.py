"""Train a student with the knowledge of a trained teacher."""

from ignite_kd.cli import run
from ignite_kd.cli.train_with_transfer import command

if __name__ == "__main__":
    run(command)
