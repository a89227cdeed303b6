"""Prints as JSON what a buffer draws and stores on this rank, with a real communicator, in several variants."""

import json
import sys

from rehearse.core import registry
from rehearse.core.config import CommunicatorSection, plugin_config
from rehearse.core.failure import abort_on_error
from rehearse.core.world import World
from support.rehearsing import trace


def main(communicator_name, variants):
    config = plugin_config(CommunicatorSection(name=communicator_name))
    communicator = registry.get("communicators", communicator_name)(config, World.from_env())
    with abort_on_error(communicator):
        traces = [trace(communicator, **variant) for variant in json.loads(variants)]
    communicator.close()
    sys.stdout.write(json.dumps(traces) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
