"""Instances to measure with: CT images that look like a scanner's, made anew from a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def _header(rows: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"]
    ds.SOPClassUID = CTImageStorage
    for keyword in ("Study", "Series", "Acquisition", "Content", "InstanceCreation"):
        setattr(ds, f"{keyword}Date", "20260301")
        setattr(ds, f"{keyword}Time", "101530.250000")
    ds.AccessionNumber = "A0012345"
    ds.Modality = "CT"
    ds.Manufacturer = "Benchmark Imaging"
    ds.ManufacturerModelName = "Model 64"
    ds.InstitutionName = "General Hospital"
    ds.InstitutionalDepartmentName = "Radiology"
    ds.StationName = "CT01"
    ds.ReferringPhysicianName = "Weiß^Ute"
    ds.StudyDescription = "CT Thorax with contrast"
    ds.SeriesDescription = "Thorax 1.0 B70f"
    ds.PatientName = "Schmidt^Jürgen"
    ds.PatientID = "P000001"
    ds.IssuerOfPatientID = "HOSPITAL"
    ds.PatientBirthDate = "19600412"
    ds.PatientSex = "M"
    ds.PatientAge = "065Y"
    ds.PatientSize = "1.78"
    ds.PatientWeight = "82"
    ds.BodyPartExamined = "CHEST"
    ds.ScanOptions = "SPIRAL MODE"
    ds.SliceThickness = "1.0"
    ds.KVP = "120"
    ds.DataCollectionDiameter = "500"
    ds.DeviceSerialNumber = "41234"
    ds.SoftwareVersions = "syngo CT 2012B"
    ds.ProtocolName = "Thorax"
    ds.ReconstructionDiameter = "340"
    ds.DistanceSourceToDetector = "1040"
    ds.DistanceSourceToPatient = "570"
    ds.GantryDetectorTilt = "0"
    ds.TableHeight = "142"
    ds.RotationDirection = "CW"
    ds.ExposureTime = "500"
    ds.XRayTubeCurrent = "210"
    ds.Exposure = "105"
    ds.FilterType = "FLAT"
    ds.GeneratorPower = "25"
    ds.FocalSpots = "1.2"
    ds.ConvolutionKernel = ["B70f", "2"]
    ds.PatientPosition = "HFS"
    ds.StudyID = "12345"
    ds.SeriesNumber = "4"
    ds.AcquisitionNumber = "2"
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    ds.PositionReferenceIndicator = ""
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = ds.Columns = rows
    ds.PixelSpacing = ["0.664", "0.664"]
    ds.BitsAllocated = 16
    ds.BitsStored = 12
    ds.HighBit = 11
    ds.PixelRepresentation = 0
    ds.WindowCenter = ["-600", "40"]
    ds.WindowWidth = ["1200", "400"]
    ds.RescaleIntercept = "-1024"
    ds.RescaleSlope = "1"
    ds.RescaleType = "HU"
    code = Dataset()
    code.CodeValue = "CTCHESTC"
    code.CodingSchemeDesignator = "LOCAL"
    code.CodeMeaning = "CT chest with contrast"
    ds.ProcedureCodeSequence = [code]
    request = Dataset()
    request.ScheduledProcedureStepID = "SPS1"
    request.RequestedProcedureID = "RP1"
    request.RequestedProcedureDescription = "CT chest"
    ds.RequestAttributesSequence = [request]
    private = ds.private_block(0x0029, "BENCHMARK HEADER", create=True)
    for element in range(0x10, 0x1C):
        private.add_new(element, "LO", f"value {element}")
    return ds


def write_series(folder: Path, count: int, rows: int, *, series: int, studies: int = 1, seed: str = "") -> list[Path]:
    """Write ``count`` CT instances spread over ``studies`` studies of ``series`` series in all; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(rows)
    base = generator.integers(0, 2500, size=(rows, rows), dtype=np.uint16)
    ds = _header(rows)
    paths = []
    for number in range(count):
        study, serie = number % studies, number % max(series, studies)
        ds.StudyInstanceUID = generate_uid(entropy_srcs=[seed, str(rows), "study", str(study)])
        ds.SeriesInstanceUID = generate_uid(entropy_srcs=[seed, str(rows), "series", str(study), str(serie)])
        ds.SOPInstanceUID = generate_uid(entropy_srcs=[seed, str(rows), "instance", str(number)])
        ds.PatientID = f"P{study:06d}"
        ds.PatientName = f"Schmidt{study:04d}^Jürgen"
        ds.AccessionNumber = f"A{study:07d}"
        ds.StudyDate = f"2026{1 + study % 12:02d}{1 + study % 28:02d}"
        ds.InstanceNumber = str(number + 1)
        ds.SliceLocation = f"{number * 0.7:.1f}"
        ds.ImagePositionPatient = ["-170", "-170", f"{number * 0.7:.1f}"]
        ds.PixelData = np.roll(base, number, axis=0).tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{number:05d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
