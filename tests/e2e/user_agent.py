"""An agent for missions as users have them: ``script:python user_agent.py CONFIG``.

As an implementer it adds a line to the file of its work package; as a reviewer it asks once for
changes where the configuration says so. It logs its actions.
"""

import json
import os
import sys
from pathlib import Path

config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
sys.stdin.read()
wp, role = os.environ["SPEC_KITTY_WP"], os.environ["SPEC_KITTY_ROLE"]
log = Path(config["log"])
with log.open("a", encoding="utf-8") as file:
    file.write(f"{wp} {role}\n")

if role == "implement":
    made = Path(config["files"][wp])
    made.parent.mkdir(parents=True, exist_ok=True)
    with made.open("a", encoding="utf-8") as file:
        file.write(f"attempt {os.environ['SPEC_KITTY_ATTEMPT']}\n")
    print("done")
    sys.exit(0)

reviews = log.read_text(encoding="utf-8").split("\n").count(f"{wp} review")
if wp in config["rework"] and reviews == 1:
    finding = {"id": "F1", "severity": "blocking", "where": "a:1", "what": "one more line"}
    print(json.dumps({"verdict": "changes_requested", "summary": "more", "findings": [finding]}))
else:
    print(json.dumps({"verdict": "approved", "summary": "fine", "findings": []}))
