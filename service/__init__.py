"""The champion as a small HTTP service: pictures in, faces with emotions out. `python -m service`, or `make serve`.

| module          | what is in it                                                                      |
| --------------- | ---------------------------------------------------------------------------------- |
| `limits`        | every setting, read from the environment                                           |
| `app`           | the parts put together, as an ASGI application                                     |
| `upload_guard`  | requests turned away before their body is read, and bodies counted while they come |
| `protection`    | whom the service answers, and the headers of every answer                          |
| `refusals`      | errors as JSON: what came, what was expected, what to do                           |
| `slots`         | how much is worked on at once, how much may wait, how long                         |
| `routes`        | predict, batch, explain                                                            |
| `status_routes` | health, readiness, the model, the metrics                                          |
| `page_routes`   | the page at `/`; its files are in `page/`                                          |
| `answers`       | the JSON of every answer                                                           |
| `recognition`   | from a picture's bytes to its faces and their emotions                             |
| `served_model`  | a model ready to answer: champion or pretrained weights, warmed up                 |
| `model_watch`   | follows the registry and exchanges the model                                       |
| `meters`        | counters and timers in Prometheus form                                             |
"""
