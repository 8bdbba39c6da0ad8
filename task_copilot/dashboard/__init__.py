"""The page that people open in a browser: plain HTML, CSS and JavaScript, served as they are."""
