"""What the console shows, without HTML: it brings what is read together with the plan, for people."""
