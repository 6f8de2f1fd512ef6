-- For wrk: POST the picture in the file FER_PICTURE as a browser's form would. See docs/reliability.md.
local boundary = "fer-boundary"
local file = assert(io.open(os.getenv("FER_PICTURE"), "rb"))
local picture = file:read("*a")
file:close()

wrk.method = "POST"
wrk.headers["Content-Type"] = "multipart/form-data; boundary=" .. boundary
wrk.body = "--" .. boundary .. "\r\n"
    .. 'Content-Disposition: form-data; name="picture"; filename="face.png"\r\n'
    .. "Content-Type: image/png\r\n\r\n"
    .. picture .. "\r\n--" .. boundary .. "--\r\n"
