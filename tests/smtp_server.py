"""A mail server on loopback, for what the pipeline sends."""

import email
import json
import socketserver
import threading
from email import policy


class Mailbox(socketserver.ThreadingTCPServer):
    """An SMTP server that takes every mail and delivers none."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Conversation)
        self.mails = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def variables(self, **arguments):
        """The environment of an Airflow that writes to it; arguments: more of SmtpNotifier's."""
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "fer@example.org"}
        connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": self.server_address[1], "extra": extra}
        notifier = {"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "to": "ml@example.org"}
        return {
            "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(connection),
            "FER_NOTIFIER": json.dumps({**notifier, **arguments}),
        }


class Conversation(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 here")
        while line := self.rfile.readline():
            match line[:4].upper().strip():
                case b"DATA":
                    self.say("354 go on")
                    self.server.mails.append(email.message_from_bytes(self.mail(), policy=policy.default))
                    self.say("250 taken")
                case b"QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 fine")

    def say(self, line):
        self.wfile.write(f"{line}\r\n".encode())

    def mail(self):
        lines = iter(self.rfile.readline, b".\r\n")
        return b"".join(line[1:] if line.startswith(b"..") else line for line in lines)
