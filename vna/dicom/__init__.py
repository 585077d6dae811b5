"""Reading DICOM: headers, tags, JSON, multipart, transfer syntaxes."""
