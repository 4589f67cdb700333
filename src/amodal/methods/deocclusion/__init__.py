"""The deocclusion family: PCNet-M and PCNet-C (Zhan et al., CVPR 2020), their single-stage variant, and ASBU (ICCV 2021)."""
