"""Where sounds come from: each source yields catalogues of scenes or events, and reads their recordings."""
