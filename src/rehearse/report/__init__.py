"""Tables, figures and the HTML report; needs no torch."""
